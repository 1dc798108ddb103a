-- Puts an answer in the place of a claim, or takes the claim back where there is no answer to keep. Who
-- has lost the claim meanwhile changes nothing.
local claimed = KEYS[1]
local claim, answer, kept_for = ARGV[1], ARGV[2], tonumber(ARGV[3])

if redis.call('GET', claimed) ~= claim then return 0 end
if kept_for > 0 then
  redis.call('SET', claimed, answer, 'PX', ARGV[3])
else
  redis.call('DEL', claimed)
end
return 1
