"""A server of gRPC: methods by their names, messages as bytes. Says its port on standard output.

With a certificate and its key (PEM files) as arguments it speaks TLS.
"""

import sys
import time
from concurrent import futures

import grpc


def unary(method):
    def answer(request, context):
        sent = dict(context.invocation_metadata()).get("x-sent", "none")
        context.send_initial_metadata((("x-got", sent),))
        context.set_trailing_metadata((("x-trail", "2"),))
        if method == "Fail":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no way, 100%")
        if method == "Slow":
            time.sleep(3)
        if method == "Large":
            return b"x" * int(request)
        return b"answer:" + request

    return answer


def echo(requests, context):
    context.send_initial_metadata((("x-init", "1"),))
    for request in requests:
        yield b"echo:" + request
    context.set_trailing_metadata((("x-trail", "2"),))


class Methods(grpc.GenericRpcHandler):
    def service(self, details):
        method = details.method.rsplit("/", 1)[1]
        if method == "Stream":
            return grpc.stream_stream_rpc_method_handler(echo)
        if method == "Unknown":
            return None
        return grpc.unary_unary_rpc_method_handler(unary(method))


server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers((Methods(),))
if len(sys.argv) > 2:
    certificate, key = (open(path, "rb").read() for path in sys.argv[1:3])
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
else:
    port = server.add_insecure_port("127.0.0.1:0")
print(port, flush=True)
server.start()
server.wait_for_termination()
