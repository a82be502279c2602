"""Newer projects load each rule from a file of its own."""

cc_import = native.cc_import
