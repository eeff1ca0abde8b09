-- LPOP with a count, for Redis before 6.2. KEYS: list. ARGV: count. Returns the records, oldest first.
local records = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
redis.call('LTRIM', KEYS[1], ARGV[1], -1)
return records
