-- Sent as it is, also to a replica.
local kind = redis.pcall('TYPE', KEYS[1])
local layout = redis.pcall('HGET', '{' .. KEYS[1] .. '}:meta', 'layout')
local text = redis.pcall('INFO', 'replication')
local function told(name)
  if type(text) ~= 'string' then return '' end
  return string.match(text, '\n' .. name .. ':([^\r\n]*)') or ''
end
local master = ''
if told('role') == 'slave' then master = told('master_host') .. ':' .. told('master_port') end
return { type(kind) == 'table' and kind.ok or '', type(layout) == 'string' and layout or '',
  master, told('connected_slaves') }
