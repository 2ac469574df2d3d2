-- Begins every script. KEYS[1] is the source N; ARGV[1] the consumer group ('' for lists).
--
-- Beside N lie, all under the hash tag {N}:
--   meta          hash: format, layout, shards, seq, ms, held, dead, block (the last number of each)
--   stage         lists: what an offer is pushing, and nobody sees
--   in            lists: <ms>:<block> of offers that are not routed yet, the oldest at the right
--   in:<block>    list of their events, each a tail, the oldest at the right
--   <shard>       fresh events of a shard, never leased yet (list or stream)
--   back          hash seq -> stored value: events that come again
--   again:<shard> zset seq: those of them that are ready
--   later         zset seq by due time: those of them that are delayed
--   leases        zset member:token by deadline
--   lease:<member>:<token>  hash seq -> stored value: what a lease holds
--   members       zset member by deadline;   shards  hash shard -> member
--   claims        hash member -> the last token it claimed with
--   dead          stream <n>-0
--   erased        when the buffer was erased (ms), for as long as nothing makes it anew
--
-- A tail is an event as it is offered: shard 3 digits, the lengths of id and key 2 each, id, key, payload.
-- A value begins with a head of fixed width: seq 16, accepted ms 13, leases so far 5, shard 3. Numbers
-- begin at FIRST, so that a seq has 16 digits without padding; outside they count from 0.
local N = KEYS[1]
local P = '{' .. N .. '}:'
local META, BACK, LATER, LEASES = P .. 'meta', P .. 'back', P .. 'later', P .. 'leases'
local MEMBERS, SHARDS, DEAD = P .. 'members', P .. 'shards', P .. 'dead'
local CLAIMS, INBOX, STAGE, BLOCK = P .. 'claims', P .. 'in', P .. 'stage', P .. 'in:'
local ERASED = P .. 'erased'
local GROUP = ARGV[1]
local call, sub, format, byte, unpack = redis.call, string.sub, string.format, string.byte, unpack
local CHUNK, FIRST = 4000, 1000000000000000
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function fail(code, text)
  return redis.error_reply(code .. ' ' .. (text or ''))
end

-- The buffer is not there: it was erased on purpose, or its keys are gone.
local function absent()
  if call('EXISTS', ERASED) == 1 then return fail('ERASED', ERASED) end
  return fail('LOST')
end

-- One command over any number of arguments, in chunks under Lua's limit.
local function each_chunk(name, key, args, n)
  if n <= CHUNK then
    if n > 0 then return call(name, key, unpack(args, 1, n)) end
    return 0
  end
  local sum = 0
  for from = 1, n, CHUNK do
    sum = sum + call(name, key, unpack(args, from, math.min(from + CHUNK - 1, n)))
  end
  return sum
end

local function tail_of(shard, id, key, payload)
  return format('%03d%02d%02d', shard, #id, #key) .. id .. key .. payload
end

-- id, key and payload of a tail.
local function split(tail)
  local id_end = 7 + tonumber(sub(tail, 4, 5))
  local key_end = id_end + tonumber(sub(tail, 6, 7))
  return sub(tail, 8, id_end), sub(tail, id_end + 1, key_end), sub(tail, key_end + 1)
end

local function shard_of(value) return tonumber(sub(value, 35, 37)) end

-- What is stored in these fields of a hash, false where there is nothing.
local function stored_in(key, fields, n)
  if n == 0 then return {} end
  if n <= CHUNK then return call('HMGET', key, unpack(fields, 1, n)) end
  local all = {}
  for from = 1, n, CHUNK do
    local some = call('HMGET', key, unpack(fields, from, math.min(from + CHUNK - 1, n)))
    for i = 1, #some do all[from + i - 1] = some[i] end
  end
  return all
end
