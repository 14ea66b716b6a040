#!/usr/bin/env python3
"""gRPC's own health service, by grpcio: prints its port, then does what standard input says.

A line is a service ("-": the server as a whole) and SERVING or NOT_SERVING. An argument of two
files, certificate and key, has it speak TLS."""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

server = grpc.server(futures.ThreadPoolExecutor(2))
servicer = health.HealthServicer()
if "none" not in sys.argv:
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
files = [open(file, "rb").read() for file in sys.argv[1:] if "/" in file]
if files:
    certificate, key = files
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
for line in sys.stdin:
    service, status = line.split()
    status = health_pb2.HealthCheckResponse.ServingStatus.Value(status)
    servicer.set("" if service == "-" else service, status)
    print("done", flush=True)
