"""Tests of the benchmark, and the tests of speed that share its contenders."""
