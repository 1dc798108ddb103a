-- Claims a login code, unless somebody else has: then says what there is of it, a claim or an answer.
local code = KEYS[1]
local claim, claimed_for = ARGV[1], ARGV[2]

local found = redis.call('GET', code)
-- It may run twice for one claim: see begin.
if found and found ~= claim then return found end
redis.call('SET', code, claim, 'PX', claimed_for)
return false
