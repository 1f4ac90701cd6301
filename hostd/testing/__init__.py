"""What tests of hostd and of scripts need: a clock that is set by hand, nodes on free ports."""
