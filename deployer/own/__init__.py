"""Deploys of one's own service: adopt it, write down what is wanted, see it done, one at a time."""
