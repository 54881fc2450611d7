"""What Redis does, in Lua: each script is one step that nothing else comes between.

Times are Redis' own (`TIME`), in milliseconds, so the clocks of machines need not agree. Each script has one
key, and so works wherever a single key does. It takes Redis 5 or newer: before, a script that has asked for
the time could not write.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final, NamedTuple


class Script(NamedTuple):
    """A script, and the name that Redis knows it by once it has seen it."""

    #: In Lua.
    source: str
    #: For EVALSHA.
    digest: str
    #: How many whole numbers it answers.
    numbers: int


def _script(numbers: int, source: str) -> Script:
    # Redis names them so; nothing is kept secret by it.
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest(), numbers)


#: Give tokens back to a quota and draw others: {whether they were there, how many there are now}.
#: A quota that is full has no key.
TAKE: Final = _script(
    2,
    """
local cost, given, capacity = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens = math.min(capacity, (tonumber(redis.call('GET', KEYS[1]) or '') or capacity) + given)
local granted = tokens >= cost and 1 or 0
if granted == 1 then tokens = tokens - cost end
if tokens < capacity then
    redis.call('SET', KEYS[1], tokens, 'EX', ARGV[4])
else
    redis.call('DEL', KEYS[1])
end
return {granted, tokens}
""",
)

#: A step at a circuit: {whether it had its effect, epoch, whether it is open, ms until a probe, failures}.
#:
#: It opens at once when one process has met so many failures in a row that its own circuit would open. So
#: many in a row of all processes together open it only if no process has reported a success for as long as
#: a process may go without a look (`look`): a success that was not reported may have come in between.
STEP: Final = _script(
    5,
    """
local step, asked, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local window, cool, look, keep = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 'epoch', 'opens', 'probe', 'first', 'failed')
local epoch, opens, probe = tonumber(found[1] or '') or 0, tonumber(found[2] or ''), tonumber(found[3] or '')
local first, failed = tonumber(found[4] or ''), {}
for moment in string.gmatch(found[5] or '', '%d+') do failed[#failed + 1] = tonumber(moment) end
-- The clock may have been set back.
if opens and opens - now > cool then opens = now end
if probe and probe - now > cool then probe = nil end
if first and first > now then first = now end

local function next_epoch() epoch = math.max(now, epoch + 1) end
local function open()
    next_epoch()
    opens, probe, first, failed = now + cool, nil, nil, {}
end

local effect, changed, mine = 0, true, asked == epoch
if step == 'enter' then
    changed = false
    if not opens then
        effect = 1
    elseif now >= opens and not (probe and now < probe) then
        next_epoch()
        effect, changed, probe = 1, true, now + cool
    end
elseif not mine then
    changed = false
elseif step == 'succeeded' then
    changed = opens ~= nil or #failed > 0
    if opens then
        next_epoch()
        effect = 1
    end
    opens, probe, first, failed = nil, nil, nil, {}
elseif step == 'left' then
    probe = nil
elseif opens then
    open()
    effect = 1
else
    first = first or now
    failed[#failed + 1] = now
    while #failed > most do table.remove(failed, 1) end
    local together = #failed == most and now - failed[1] <= window and now - first >= look
    if step == 'failed alone' or together then
        open()
        effect = 1
    end
end
if changed then
    local kept = {'epoch', string.format('%.0f', epoch)}
    for name, value in pairs({opens = opens, probe = probe, first = first}) do
        kept[#kept + 1] = name
        kept[#kept + 1] = string.format('%.0f', value)
    end
    for index, moment in ipairs(failed) do failed[index] = string.format('%.0f', moment) end
    kept[#kept + 1] = 'failed'
    kept[#kept + 1] = table.concat(failed, ' ')
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], unpack(kept))
    redis.call('EXPIRE', KEYS[1], keep)
end
return {effect, epoch, opens and 1 or 0, math.max(0, (opens or 0) - now), #failed}
""",
)
