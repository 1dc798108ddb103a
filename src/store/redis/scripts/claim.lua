-- Claims a login code, a push or a ticket, unless somebody else has: then says what there is of it, a claim or what
-- became of it.
local claimed = KEYS[1]
local claim, claimed_for = ARGV[1], ARGV[2]

local found = redis.call('GET', claimed)
-- It may run twice for one claim: see begin.
if found and found ~= claim then return found end
redis.call('SET', claimed, claim, 'PX', claimed_for)
return false
