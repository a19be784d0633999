"""A seeded workload, a second implementation of the rules, and the auditor that compares."""
