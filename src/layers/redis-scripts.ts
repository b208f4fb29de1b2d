/** What Redis must do in one piece. Each script's keys have one hash tag, so that a cluster runs it on one node. */

/** The consumer group that all workers of a channel are in. */
export const workers = 'workers'

/**
 * KEYS stream, once, dead. ARGV capacity, message, time, id of the group message it was forwarded from or '', expiry, most dead
 * letters. Answers 1, or 0 when as many messages as the capacity wait for a first taker, and the messages that had waited for too
 * long, which are dead letters now. What was taken and is not yet acknowledged is in the stream too, but waits no more.
 */
export const sendScript = `
if ARGV[4] ~= '' then
  if redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[4]) == 0 then return { 1 } end
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3] - 60000)
  redis.call('PEXPIRE', KEYS[2], 60000)
end
local answer = { 1 }
local waiting = redis.call('XLEN', KEYS[1])
local taken = redis.pcall('XPENDING', KEYS[1], '${workers}')
if not taken.err then waiting = waiting - taken[1] end
if waiting >= tonumber(ARGV[1]) then
  local last = '0-0'
  if not taken.err then
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
      if group[2] == '${workers}' then
        for index = 1, #group, 2 do if group[index] == 'last-delivered-id' then last = group[index + 1] end end
      end
    end
  end
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 100)) do
    local id, message, at = entry[1], nil, string.match(entry[1], '%d+')
    for index = 1, #entry[2], 2 do
      if entry[2][index] == 'message' then message = entry[2][index + 1] end
      if entry[2][index] == 'at' then at = entry[2][index + 1] end
    end
    if (tonumber(at) or 0) + ARGV[5] > tonumber(ARGV[3]) then break end
    message = message or cjson.encode(entry[2])
    redis.call('XDEL', KEYS[1], id)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*', 'message', message, 'reason', 'expired', 'error', '', 'attempts', 0, 'id', id)
    waiting = waiting - 1
    table.insert(answer, message)
  end
end
if waiting >= tonumber(ARGV[1]) then
  answer[1] = 0
  return answer
end
redis.call('XADD', KEYS[1], '*', 'message', ARGV[2], 'at', ARGV[3])
return answer`

/** KEYS stream. ARGV id. Answers 1 when the message was not yet acknowledged. */
export const ackScript = `
if redis.call('XACK', KEYS[1], '${workers}', ARGV[1]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1`

/** KEYS stream, dead. ARGV id, most dead letters, then fields and values. Moves the message, if it is still there. */
export const buryScript = `
if redis.call('XACK', KEYS[1], '${workers}', ARGV[1]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
return 1`

/** KEYS stream. ARGV worker, milliseconds of silence, most. Answers id, fields and attempt of each message that was taken over. */
export const claimScript = `
local found, cursor = {}, '0-0'
repeat
  local reply = redis.pcall('XAUTOCLAIM', KEYS[1], '${workers}', ARGV[1], ARGV[2], cursor, 'COUNT', ARGV[3] - #found)
  if reply.err then return found end
  cursor = reply[1]
  for _, entry in ipairs(reply[2]) do
    local state = redis.call('XPENDING', KEYS[1], '${workers}', entry[1], entry[1], 1)
    table.insert(found, { entry[1], entry[2], state[1][4] })
  end
until cursor == '0-0' or #found >= tonumber(ARGV[3])
return found`

/** KEYS stream. ARGV worker, then ids. Says for the worker that it is still at it; answers those that are no longer its own. */
export const renewScript = `
local lost = {}
for index = 2, #ARGV do
  local id = ARGV[index]
  local mine = redis.pcall('XPENDING', KEYS[1], '${workers}', id, id, 1, ARGV[1])
  if not mine.err and #mine > 0 then redis.call('XCLAIM', KEYS[1], '${workers}', ARGV[1], 0, id, 'JUSTID')
  else table.insert(lost, id) end
end
return lost`

/** KEYS stream. ARGV worker, id. Counts a further attempt; answers which it is, or 0 when the message is no longer its own. */
export const retryScript = `
local mine = redis.pcall('XPENDING', KEYS[1], '${workers}', ARGV[2], ARGV[2], 1, ARGV[1])
if mine.err or #mine == 0 then return 0 end
redis.call('XCLAIM', KEYS[1], '${workers}', ARGV[1], 0, ARGV[2])
return mine[1][4] + 1`

/** KEYS stream. ARGV worker, then ids and attempts. Lets whoever looks next take them over. */
export const releaseScript = `
for index = 2, #ARGV, 2 do
  local id = ARGV[index]
  local mine = redis.pcall('XPENDING', KEYS[1], '${workers}', id, id, 1, ARGV[1])
  if not mine.err and #mine > 0 then
    redis.call('XCLAIM', KEYS[1], '${workers}', ARGV[1], 0, id, 'IDLE', 2147483647, 'RETRYCOUNT', ARGV[index + 1], 'JUSTID')
  end
end`

/** KEYS stream. ARGV milliseconds of silence, the name of a worker that leaves or ''. Forgets workers, and a stream, that hold nothing. */
export const pruneScript = `
local list = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], '${workers}')
if list.err then return end
local left = #list
for _, item in ipairs(list) do
  local worker = {}
  for index = 1, #item, 2 do worker[item[index]] = item[index + 1] end
  if worker.pending == 0 and (worker.name == ARGV[2] or worker.idle > tonumber(ARGV[1])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '${workers}', worker.name)
    left = left - 1
  end
end
if left == 0 and ARGV[2] ~= '' and redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end`

/**
 * KEYS memberships of a process. ARGV group, process. Answers how many of its channels are in the group, and `GROUP CHANNEL` of
 * each named channel that it added, as others may have. All members have the same score: they stand in the order of their bytes.
 */
export const countScript = `
local group = ARGV[1] .. ' '
local from, to = group .. ARGV[2] .. '!', group .. ARGV[2] .. '"'
local named = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. group, '(' .. from)
for _, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], '[' .. to, '(' .. ARGV[1] .. '!')) do table.insert(named, name) end
return { redis.call('ZLEXCOUNT', KEYS[1], '[' .. from, '(' .. to), named }`

/** EVAL with the script's text each time: by its digest a script that the server has lost would come late, out of order. */
export function evalArgs(
  script: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): readonly string[] {
  return ['EVAL', script, String(keys.length), ...keys, ...args.map(String)]
}
