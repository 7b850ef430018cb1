-- The three-level subset of YAML a route table is written in: party -> service -> list of addresses.
local _M = {}

local function scalar(text)
    local quoted = text:match('^"(.*)"$') or text:match("^'(.*)'$")
    return quoted or text
end

function _M.parse(text)
    local result, party, service, server = {}, nil, nil, nil
    local number = 0
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        number = number + 1
        local content = line:gsub("%s*#.*$", ""):gsub("%s+$", "")
        if content ~= "" then
            local indent, dash, key, value = content:match("^(%s*)(%-?)%s*([^:%s]+)%s*:%s*(.*)$")
            if not key then
                return nil, "line " .. number .. " is not `key: value`"
            end
            key = scalar(key)
            if dash == "-" or value ~= "" then
                if not service then
                    return nil, "line " .. number .. " stands outside of a service"
                end
                if dash == "-" then
                    server = {}
                    table.insert(service, server)
                elseif not server then
                    return nil, "line " .. number .. " stands outside of a list"
                end
                server[key] = scalar(value)
            elseif indent == "" then
                party, service, server = {}, nil, nil
                result[key] = party
            elseif party then
                service, server = {}, nil
                party[key] = service
            else
                return nil, "line " .. number .. " stands outside of a party"
            end
        end
    end
    return result
end

return _M
