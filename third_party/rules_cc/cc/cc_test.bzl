"""Newer projects load each rule from a file of its own."""

cc_test = native.cc_test
