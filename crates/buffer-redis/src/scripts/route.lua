-- How foreign events become ours: read from the source, told apart by key. Follows push.lua.
local PAYLOAD_MAX = 65536
local find, match = string.find, string.match

-- Where the value of a member begins in an object that decodes: the last one of this name at the outermost
-- level.
local function member(raw, name, decode)
  local at, depth, found = 1, 0, nil
  while true do
    local start = find(raw, '["{}%[%]]', at)
    local what = byte(raw, start)
    at = start + 1
    if what == 34 then
      local stop = start
      repeat
        stop = find(raw, '["\\]', stop + 1)
        local escape = byte(raw, stop) == 92
        if escape then stop = stop + 1 end
      until not escape
      at = stop + 1
      local value = depth == 1 and match(raw, '^%s*:%s*()', at)
      if value then
        local its = sub(raw, start + 1, stop - 1)
        if find(its, '\\', 1, true) then its = decode('["' .. its .. '"]')[1] end
        if its == name then found = value end
      end
    elseif what == 123 or what == 91 then
      depth = depth + 1
    else
      depth = depth - 1
      if depth == 0 then return found end
    end
  end
end

-- A number as it is written, so that no digit of an id is lost. Where nothing can spell the name with an escape
-- (a plain name needs \u00 for that), the member is among the places that look like it; where there is only one,
-- it is that. member() finds the others.
local NUMBER, LOOKS = '%-?[%d%.eE+-]+', {}
local function written(raw, name, decode)
  local looks = LOOKS[name]
  if not looks then
    looks = { match(name, '^[%w_.-]+$') and '\\u00' or '\\',
      '"' .. string.gsub(name, '%W', '%%%0') .. '"%s*:%s*(' .. NUMBER .. ')' }
    LOOKS[name] = looks
  end
  if not find(raw, looks[1], 1, true) then
    local start, _, text = find(raw, looks[2])
    if not find(raw, looks[2], start + 1) then return text end
  end
  return match(raw, '^' .. NUMBER, member(raw, name, decode))
end

-- A JSON field as text.
local function text_of(doc, name, raw, decode)
  local value = doc[name]
  if type(value) == 'string' then return value end
  if type(value) == 'number' then return written(raw, name, decode) end
  return nil
end

-- A decoder of our own: scripts of others may change how the shared one reads. Made when it is first needed: that
-- takes as long as it takes to read a few events.
local decode_own
local function decoder()
  if not decode_own then
    local own = cjson.new()
    own.decode_invalid_numbers(false)
    own.decode_max_depth(1000)
    decode_own = own.decode
  end
  return decode_own
end

-- id and key of a payload, as the contract of foreign events (buffer::foreign) says.
local function identify(raw, id_field, key_field)
  local decode, json = decoder(), raw
  if sub(raw, 1, 3) == '\239\187\191' then json = sub(raw, 4) end
  local ok, doc = pcall(decode, json)
  if ok and type(doc) == 'table' then
    local id = text_of(doc, id_field, json, decode)
    if id and #id > 0 and #id <= 64 then
      local key = text_of(doc, key_field, json, decode) or ''
      if #key > 64 then key = redis.sha1hex(key) end
      return id, key
    end
  end
  return 'unread-' .. redis.sha1hex(raw), ''
end

-- The payload of a stream entry: its only field, the one of this name, or the first that looks like an
-- object. Where there is none of them, all fields as an object, so that nothing that was sent is gone.
local function payload_of(fields, field)
  local whole = {}
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    if name == field or #fields == 2 then return value end
    if field == '' and find(value, '^\239?\187?\191?%s*{') then return value end
    whole[name] = value
  end
  return cjson.encode(whole)
end

-- The oldest foreign events: payload and, where it is known, the time they came.
local function source_head(n, offset, field)
  local found = {}
  if GROUP == '' then
    local items = call('LRANGE', N, -n - offset, -1 - offset)
    for i = #items, 1, -1 do found[#found + 1] = { items[i] } end
  else
    for i, entry in ipairs(call('XRANGE', N, '-', '+', 'COUNT', n + offset)) do
      if i > offset then
        local ms = tonumber(match(entry[1], '^(%d+)'))
        found[#found + 1] = { payload_of(entry[2], field), ms, entry[1] }
      end
    end
  end
  return found
end

local function source_drop(found)
  if GROUP == '' then
    call('LTRIM', N, 0, -#found - 1)
  else
    local ids = {}
    for i = 1, #found do ids[i] = found[i][3] end
    call('XDEL', N, unpack(ids))
  end
end

local function source_length()
  if GROUP == '' then return call('LLEN', N) end
  return call('XLEN', N)
end

-- Too long for an event: what fits of it goes to the dead letters, if there is room.
local function bury_long(id, key, raw, accepted, dead_max)
  if call('XLEN', DEAD) >= dead_max then return false end
  call('XADD', DEAD, format('%d-0', call('HINCRBY', META, 'dead', 1)), 'i', id, 'k', key,
    'p', sub(raw, 1, PAYLOAD_MAX), 'a', accepted, 't', 0, 'b', now,
    'r', 'payload: ' .. #raw .. ' bytes are longer than 64 KiB (65536 bytes), the most an event may have; cut off')
  return true
end

-- Routes up to `limit` of the oldest foreign events, in chunks.
local function route(limit, id_field, key_field, field, shards, dead_max)
  local routed, held = 0, 0
  while routed < limit do
    local found = source_head(math.min(100, limit - routed), 0, field)
    local n = #found
    if n == 0 then break end
    local last = call('HINCRBY', META, 'seq', n)
    local ms = accept_ms(call('HGET', META, 'ms') or 0)
    for i = 1, n do
      local raw, accepted = found[i][1], math.min(found[i][2] or ms, ms)
      local id, key = identify(raw, id_field, key_field)
      local buried = #raw > PAYLOAD_MAX and bury_long(id, key, raw, accepted, dead_max)
      if not buried then
        local shard = shard_for(key == '' and id or key, shards)
        push(shard, last - n + i, ms, accepted, id, key, sub(raw, 1, PAYLOAD_MAX))
        held = held + 1
      end
    end
    flush()
    source_drop(found)
    routed = routed + n
  end
  if held > 0 then call('HINCRBY', META, 'held', held) end
  return routed
end
