"""A pool: trained once, measured without labels, remembered.

`pool` says what is known of every member; `program` trains and measures a chunk of members in one
compiled program, `sweep` runs the chunks of a pool and keeps them in a record; `controls` are
members that learned nothing; `external` reads scores of other libraries.
"""

from ad_jax.pool.pool import HEADS, Member, Pool, estimates_by_setting, per_setting
from ad_jax.pool.view import View

__all__ = ["HEADS", "Member", "Pool", "View", "estimates_by_setting", "per_setting"]
