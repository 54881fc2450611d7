"""What is known of objects by their identity."""

import gc

import pytest

from resilient_transport.util.identity_dict import IdentityDict


class Body:
    """Equal to everything, and without a hash; whoever asks for either finds out."""

    def __eq__(self, other):
        raise AssertionError("asked whether it is equal")

    def __hash__(self):
        raise AssertionError("asked for its hash")


def test_an_object_has_its_own_value():
    """Neither its equality nor its hash is asked for."""
    known, one, other = IdentityDict(), Body(), Body()
    known.put(one, 1)

    assert (known.get(one, 0), known.get(other, 0)) == (1, 0)


def test_it_goes_with_its_object():
    """Nothing is kept alive, and nothing is left of it, in a cycle neither."""
    known, body, ring = IdentityDict(), Body(), Body()
    ring.itself = ring
    known.put(body, 1)
    known.put(ring, 2)
    del body, ring
    gc.collect()

    assert known.values() == []


@pytest.mark.parametrize(("put", "value"), [("put", 2), ("put_first", 1)])
def test_a_second_value(put, value):
    """It takes the place of the first, or it does not; and its object's end still ends it."""
    known, body = IdentityDict(), Body()
    known.put(body, 1)
    getattr(known, put)(body, 2)

    assert known.get(body, 0) == value
    del body
    assert known.values() == []


def test_what_takes_no_weak_reference_is_refused():
    """The caller has another place for that."""
    with pytest.raises(TypeError):
        IdentityDict().put(iter([]), 1)


def test_another_object_of_the_same_number_is_another():
    """The control of the identity: an entry whose object is gone says nothing of who has its number."""
    known, one, other = IdentityDict(), Body(), Body()
    known.put(one, 1)
    known._entries[id(other)] = known._entries[id(one)]

    assert known.get(other, 0) == 0
