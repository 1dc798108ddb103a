-- Claims a login code, unless somebody has: then says what there is of it, a claim or an answer.
local code = KEYS[1]
local claim, claimed_for = ARGV[1], ARGV[2]

local found = redis.call('GET', code)
if found then return found end
redis.call('SET', code, claim, 'PX', claimed_for)
return false
