"""The simulated world on SimPy: pods, network and users of one app, with the deployer of the real worlds."""
