"""An account of AWS for tests: moto's services, with a CloudFormation and an IAM that say no.

moto keeps the objects (buckets, queues, streams, users); this package answers CloudFormation by
itself, decides who may do what, and fails where a test asks it to. What that shows, and what it
cannot, is in docs/aws-coverage.md.
"""
