"""Load tests against the service level that `loadtests/sla.yaml` promises (`make load`)."""
