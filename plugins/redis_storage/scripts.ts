/** The Lua scripts. The server runs a script as a whole, with no other command in between. */
import { createHash } from "node:crypto";
import { FORMAT } from "./entries.ts";

/**
 * Statuses of a write, besides 0: the condition did not hold. The reply to a write is `time of the server * 4 + status`.
 * `TOO_LATE`: the deadline had passed, and nothing was done. `FOREIGN`: other data is stored under the key.
 */
export const [DONE, TOO_LATE, FOREIGN] = [1, 2, 3];

/** Conditions of a write. Any other one is the header that the stored entry must have. */
export const [UNCONDITIONAL, ABSENT] = ["*", "-"];

/** A script. */
export interface Script {
  readonly text: string;
  /** SHA-1 of the text, by which the server caches it. */
  readonly sha: string;
}

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/** Returns an entry. It is a script because only masters run scripts: in a cluster, a plain GET could read a stale replica. */
export const GET = script(`return redis.call("GET", KEYS[1])`);

const SERVER_TIME = `
  local time = redis.call("TIME")
  local serverTime = time[1] * 1000 + math.floor(time[2] / 1000)`;

/**
 * Puts or deletes an entry.
 *
 * KEYS: sorted set of keys, entry, sorted set of expiry times, receipt.
 * ARGV: deadline by the server's clock, condition, encoded entry (empty: delete), TTL or empty, in tests the time.
 *
 * The receipt records that this write was done. A repetition of the write finds it and is not done twice. It expires soon
 * after the deadline, because later repetitions are refused by the deadline.
 *
 * Commands that can fail come first, so that a refused write changes no entry: SET fails if the server is out of memory,
 * ZADD if another program uses the key of the set. A listing removes a key that was added without an entry.
 */
export const WRITE = script(`${SERVER_TIME}
  local keySet, entryKey, expirySet, receipt = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
  local deadline, condition, text, ttl, testTime = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
  local reply = serverTime * 4 -- and the status

  if serverTime > deadline then
    return reply + (redis.call("EXISTS", receipt) == 1 and ${DONE} or ${TOO_LATE})
  end

  local header = redis.call("GETRANGE", entryKey, 0, 39)
  local exists = header ~= ""
  if exists and (string.sub(header, 1, 2) ~= "${FORMAT} " or string.byte(header, 39) ~= 32) then
    return reply + ${FOREIGN}
  end
  local live, now = exists, serverTime
  if testTime then
    now = testTime
    local expiresAt = string.match(redis.call("GETRANGE", entryKey, 39, 59), "^%d+")
    live = exists and (not expiresAt or tonumber(expiresAt) > now)
  end

  local holds = condition == "${UNCONDITIONAL}"
  if condition == "${ABSENT}" then
    holds = not live
  elseif not holds then
    holds = live and string.sub(header, 1, 39) == condition
  end
  if not holds then
    -- This write itself may have changed the entry.
    return reply + (redis.call("EXISTS", receipt) == 1 and ${DONE} or 0)
  end

  local function remove(key, entryKey)
    redis.call("DEL", entryKey)
    redis.call("ZREM", keySet, key)
    redis.call("ZREM", expirySet, key)
  end
  local base = string.sub(keySet, 1, -#"keys" - 1)
  local key = string.sub(entryKey, #base + #"entry:" + 1)
  local receiptMs = deadline - serverTime + 1000
  if text == "" then
    -- The receipt is written last: a server that is out of memory refuses SET, and must not refuse the deletion with it.
    if redis.call("EXISTS", receipt) == 1 then return reply + ${DONE} end
    remove(key, entryKey)
    redis.call("SET", receipt, "", "PX", receiptMs)
    return reply + ${DONE}
  end
  if not redis.call("SET", receipt, "", "NX", "PX", receiptMs) then return reply + ${DONE} end
  if not exists then redis.call("ZADD", keySet, 0, key) end
  if not ttl then
    if string.sub(header, 40) ~= "-" then redis.call("ZREM", expirySet, key) end
    redis.call("SET", entryKey, text)
    return reply + ${DONE}
  end

  local expiresAt = math.min(math.ceil(now + ttl), 9007199254740991)
  -- Redis keeps a key for one millisecond more than PX.
  local px = expiresAt - now - (testTime and 0 or 1)
  if px <= 0 then
    remove(key, entryKey)
  else
    local digits = string.format("%.0f", expiresAt)
    redis.call("ZADD", expirySet, digits, key)
    local expiring = string.sub(text, 1, 39) .. digits .. string.sub(text, 41)
    if testTime then
      redis.call("SET", entryKey, expiring)
    else
      redis.call("SET", entryKey, expiring, "PX", px)
    end
  end
  -- Each write with a TTL removes up to two expired entries, so they do not accumulate. The write is done, so failures
  -- here are ignored.
  for _, expired in ipairs(redis.call("ZRANGEBYSCORE", expirySet, "-inf", now, "LIMIT", 0, 2)) do
    pcall(remove, expired, base .. "entry:" .. expired)
  end
  return reply + ${DONE}`);

/**
 * Returns a page of entries: the server's time, the last key of the page (nil if no keys follow), and then keys and entries
 * in turn. A page ends with the entry that reaches 1 MiB, or after about 1000 keys. Removes the expired entries that it
 * finds.
 *
 * KEYS: sorted set of keys, sorted set of expiry times. The entries are not among them, because the caller does not know
 * their keys yet; they are in the same slot.
 * ARGV: from, to, max number of entries, in tests the time.
 */
export const LIST = script(`${SERVER_TIME}
  local keySet, expirySet = KEYS[1], KEYS[2]
  local from, to, remaining, testTime = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
  local now = testTime or serverTime
  local base = string.sub(keySet, 1, -#"keys" - 1) .. "entry:"
  local reply, expired, bytes, seen, more = {serverTime, false}, {}, 0, 0, true
  while more and remaining > 0 and seen < 1000 do
    local keys = redis.call("ZRANGEBYLEX", keySet, from, to, "LIMIT", 0, remaining)
    more = #keys == remaining
    for i, key in ipairs(keys) do
      from = "(" .. key
      seen = seen + 1
      local text = redis.call("GET", base .. key)
      local expiresAt
      if not text then
        expiresAt = redis.call("ZSCORE", expirySet, key)
      elseif testTime then
        expiresAt = string.match(text, "^${FORMAT} %S+ (%d+) ")
      end
      if expiresAt and tonumber(expiresAt) <= now then
        expired[#expired + 1] = key
      else
        reply[#reply + 1] = key
        reply[#reply + 1] = text
        remaining = remaining - 1
        bytes = bytes + (text and #text or 0)
        if bytes >= 1048576 then
          more, remaining = more or i < #keys, 0
          break
        end
      end
    end
  end
  if more then reply[2] = string.sub(from, 2) end
  for _, key in ipairs(expired) do
    -- The listing succeeds even if the server refuses writes now.
    redis.pcall("DEL", base .. key)
    redis.pcall("ZREM", keySet, key)
    redis.pcall("ZREM", expirySet, key)
  end
  return reply`);
