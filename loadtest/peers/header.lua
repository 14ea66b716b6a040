-- The action that HAProxy runs on every request (suite/contenders.py).
core.register_action("gateway", { "http-req" }, function(txn)
    txn.http:req_set_header("X-Gateway", "Odin")
end)
