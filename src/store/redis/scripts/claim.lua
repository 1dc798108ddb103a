-- Claims a login code or a push, unless somebody has: then says what there is of it, a claim or what
-- became of it.
local claimed = KEYS[1]
local claim, claimed_for = ARGV[1], ARGV[2]

local found = redis.call('GET', claimed)
if found then return found end
redis.call('SET', claimed, claim, 'PX', claimed_for)
return false
