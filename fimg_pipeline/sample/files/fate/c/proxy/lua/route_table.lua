-- The way to every party, read from conf/route_table.yaml and read again every few seconds.
local parser = require "route_parser"

local _M = {}
local routes = {}
local interval = 5

local function read(path)
    local file, err = io.open(path, "r")
    if not file then
        return nil, err
    end
    local text = file:read("*a")
    file:close()
    return parser.parse(text)
end

local function reload(premature)
    if premature then
        return
    end
    local path = ngx.config.prefix() .. "conf/route_table.yaml"
    local fresh, err = read(path)
    if fresh then
        routes = fresh
    else
        ngx.log(ngx.ERR, "route table ", path, " not read, the old one stays: ", err)
    end
    local ok, timer_err = ngx.timer.at(interval, reload)
    if not ok then
        ngx.log(ngx.ERR, "route table will not be read again: ", timer_err)
    end
end

local function address(servers, is_grpc)
    local server = servers[math.random(1, #servers)]
    return { host = server.host, port = tonumber(is_grpc and server.grpc_port or server.http_port) }
end

--- The peer of a party's service: the service itself, else the party's proxy, else the default one.
function _M.find(party, service, is_grpc)
    local known = routes[tostring(party)] or {}
    local default = routes["default"] or {}
    local servers = (service and known[service]) or known["proxy"] or default["proxy"]
    if servers == nil or #servers == 0 then
        return nil, "no route to party " .. tostring(party)
    end
    local peer = address(servers, is_grpc)
    if peer.port == nil then
        return nil, "the route to party " .. tostring(party) .. " has no port for this protocol"
    end
    return peer
end

function _M.start()
    ngx.timer.at(0, reload)
end

return _M
