"""A server of gRPC: methods by their names, messages as bytes. Says its port on standard output."""

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
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
