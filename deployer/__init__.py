"""The deploy system: sees a fleet, plans with a pure strategy, acts on a cluster; imports no other room."""
