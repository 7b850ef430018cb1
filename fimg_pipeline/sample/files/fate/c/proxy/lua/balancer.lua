local balancer = require "ngx.balancer"

local ok, err = balancer.set_current_peer(ngx.ctx.peer.host, ngx.ctx.peer.port)
if not ok then
    ngx.log(ngx.ERR, "cannot use peer ", ngx.ctx.peer.host, ":", ngx.ctx.peer.port, ": ", err)
    return ngx.exit(502)
end
