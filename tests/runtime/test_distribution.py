"""Distributions, as Prometheus reads them."""

from intone.server.runtime.distribution import Distribution


def test_values_are_counted_up_to_each_bound():
    distribution = Distribution((1, 2.5))
    assert distribution.buckets() == [("1.0", 0), ("2.5", 0), ("+Inf", 0)]
    for value in (0.5, 1, 2, 100):
        distribution.observe(value)
    assert distribution.buckets() == [("1.0", 2), ("2.5", 3), ("+Inf", 4)]
    assert distribution.sum == 103.5 and distribution.count == 4
