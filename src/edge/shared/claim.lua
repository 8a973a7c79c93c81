-- Deliveries: claimed before they go on, marked when an upstream took them, given up otherwise.
-- KEYS     one for each delivery of a request
-- ARGV[1]  claim: answers for each key 0 (free), 1 (taken), 2 (on its way); all are claimed if all are free
--          mark:  they were taken, for ARGV[3] milliseconds
--          leave: the claim is given up
-- ARGV[2]  the claim's name
-- ARGV[3]  milliseconds
local op, name, lasts = ARGV[1], ARGV[2], ARGV[3]
local answer = {}
if op == 'mark' then
  for _, key in ipairs(KEYS) do redis.call('SET', key, 'taken', 'PX', lasts) end
elseif op == 'leave' then
  for _, key in ipairs(KEYS) do
    if redis.call('GET', key) == name then redis.call('DEL', key) end
  end
else
  local free = true
  for nth, key in ipairs(KEYS) do
    local is = redis.call('GET', key)
    answer[nth] = is == 'taken' and 1 or is and is ~= name and 2 or 0
    if answer[nth] ~= 0 then free = false end
  end
  if free then
    for _, key in ipairs(KEYS) do redis.call('SET', key, name, 'PX', lasts) end
  end
end
return answer
