"""Newer projects load each rule from a file of its own."""

cc_binary = native.cc_binary
