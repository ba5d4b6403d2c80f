"""How users behave: pure state machines and distributions, the same for real users and for simulated ones."""
