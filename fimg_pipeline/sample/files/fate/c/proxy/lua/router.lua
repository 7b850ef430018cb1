local route_table = require "route_table"

local headers = ngx.req.get_headers()
local party = headers["dest-party-id"] or headers["dest-env"]

if party == nil then
    -- Nobody is addressed: a probe asking whether the proxy is there.
    ngx.say("proxy")
    return ngx.exit(200)
end

local peer, reason = route_table.find(party, headers["service"], ngx.req.http_version() == 2)
if peer == nil then
    ngx.status = 404
    ngx.say(reason)
    return ngx.exit(404)
end
ngx.ctx.peer = peer
