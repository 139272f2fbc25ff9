"""From a long recording to the expressions in it: motion of the face's regions, a small network, intervals."""
