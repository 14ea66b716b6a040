-- What wrk sends: a browser's headers (about 450 bytes), a body if BODY_BYTES says so, `Connection:
-- close` if CLOSE does; and what it says at the end: one line of JSON, times in microseconds.
local agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0"
wrk.headers["Host"] = "gateway.example"
wrk.headers["User-Agent"] = agent
wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
wrk.headers["Accept-Language"] = "en-US,en;q=0.9"
wrk.headers["Cookie"] = "session=0123456789abcdef0123456789abcdef; theme=dark"
wrk.headers["Referer"] = "http://example.com/some/page"
wrk.headers["X-Request-Start"] = "t=1234567890"
if os.getenv("CLOSE") == "1" then
    wrk.headers["Connection"] = "close"
end

local bytes = tonumber(os.getenv("BODY_BYTES") or "0")
if bytes > 0 then
    local record = '{"id":1234,"name":"a name","tags":["one","two"]},'
    local body = string.rep(record, math.ceil(bytes / #record))
    wrk.method = "POST"
    wrk.body = "[" .. string.sub(body, 1, bytes - 2) .. "]"
    wrk.headers["Content-Type"] = "application/json"
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"requests":%d,"seconds":%.6f,"errors":%d,"p50":%d,"p90":%d,"p99":%d,"p999":%d}\n',
        summary.requests, summary.duration / 1e6,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(90), latency:percentile(99),
        latency:percentile(99.9)))
end
