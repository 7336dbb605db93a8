"""The discrete-event engine: CTAs on the slots of SMs, sharing pipes, L2 and HBM, on SimPy."""
