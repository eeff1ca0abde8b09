-- One step of a worker: acknowledge what is done, show a sign of life, take more.
-- KEYS: list, the worker's own list, heartbeat, owners, failed records.
-- ARGV: worker, token, heartbeat in ms, number of this acknowledgement, how many records of the own list are done,
--       'failed' to keep those in the list of failed records or '', how many records the own list may hold (0: take none).
-- Returns what is in the own list, oldest first (nothing if none were to be taken), or -1: the name belongs to somebody else.
--
-- May be sent again when its reply was lost: an acknowledgement whose number was seen already is not done twice, and
-- what was taken already is returned again.
local owner = redis.call('HGET', KEYS[4], ARGV[1])
local fresh = owner == ARGV[2] .. ':' .. (tonumber(ARGV[4]) - 1)
if not fresh and owner ~= ARGV[2] .. ':' .. ARGV[4] then
  return -1
end
redis.call('DEL', KEYS[3]) -- needs no memory and so comes first: see register.lua
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])

local done = tonumber(ARGV[5])
if fresh and done > 0 then
  local failed = ARGV[6] == 'failed' and redis.call('LRANGE', KEYS[2], 0, done - 1) or {}
  if #failed > 0 then
    redis.call('RPUSH', KEYS[5], unpack(failed))
  end
  redis.call('LTRIM', KEYS[2], done, -1)
end
if fresh then
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[2] .. ':' .. ARGV[4])
end

local room = tonumber(ARGV[7])
if room == 0 then
  return {}
end
room = room - redis.call('LLEN', KEYS[2])
if room > 0 then
  -- The same as LMOVE ... LEFT RIGHT for each record, in three commands, and Redis before 6.2 has them too.
  local more = redis.call('LRANGE', KEYS[1], 0, room - 1)
  if #more > 0 then
    redis.call('RPUSH', KEYS[2], unpack(more))
    redis.call('LTRIM', KEYS[1], #more, -1)
  end
end
return redis.call('LRANGE', KEYS[2], 0, -1)
