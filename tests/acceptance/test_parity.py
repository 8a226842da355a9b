"""One sweep on eight devices, in two processes and as four shards, against one device."""

import parity
import pytest


@pytest.mark.processes
def test_layouts_agree(tmp_path):
    """See parity.py; on eight devices training amplifies rounding, so nothing is asked of them."""
    found = parity.compared(tmp_path, "digits,normal=3", small=True)
    same = [one for one in found if one.layout != "eight devices"]
    assert {one.layout for one in same} == {"two processes", "four shards"}
    assert all(one.apart == 0.0 and (one.there == one.alone).all() for one in same)
    assert len(found) % 6 == 0  # an area that learned nothing has none
    assert "equal" in parity.table(found)
