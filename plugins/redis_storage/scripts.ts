/** The Lua scripts. The server runs a script as a whole, with no other command in between. */
import { createHash } from "node:crypto";
import { FORMAT } from "./entries.ts";

/**
 * Statuses of a write. The reply is `time of the server * 4 + status`; for `REFUSED` and `FOREIGN` it is a list of that and
 * the index of the operation. `TOO_LATE`: the deadline had passed, and nothing was done. `REFUSED`: the condition did not
 * hold, and nothing was done. `FOREIGN`: other data is stored under the key, and nothing was done.
 */
export const [REFUSED, DONE, TOO_LATE, FOREIGN] = [0, 1, 2, 3];

/** Conditions of an operation. Any other one is the header that the stored entry must have. */
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

/** Returns an entry. Only masters run scripts: in a cluster, a plain GET could read a stale replica. */
export const GET = script(`return redis.call("GET", KEYS[1])`);

const SERVER_TIME = `
  local time = redis.call("TIME")
  local serverTime = time[1] * 1000 + math.floor(time[2] / 1000)`;

/**
 * Applies operations, puts and deletions of different entries. If a condition does not hold, none is applied.
 *
 * KEYS: sorted set of keys, sorted set of expiry times, the entries, receipt (may be absent).
 * ARGV: deadline by the server's clock, header of the entries that this write puts, in tests the time; for each operation
 * its condition, encoded entry (empty: delete), TTL or empty.
 *
 * A repetition of the write must not be done twice. The script recognizes it by an entry with the header of this write, or
 * by the receipt. The receipt expires soon after the deadline, because later repetitions are refused by the deadline.
 *
 * Commands that can fail come first, so that a refused write changes no entry: SET fails if the server is out of memory,
 * ZADD if another program uses the key of the set. A listing removes a key that was added without an entry.
 */
export const WRITE = script(`${SERVER_TIME}
  local keySet, expirySet = KEYS[1], KEYS[2]
  local deadline, own, testTime = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
  local count = (#ARGV - 3) / 3
  local receipt = KEYS[3 + count]
  local reply = serverTime * 4 -- and the status
  local now = testTime or serverTime

  local headers = {}
  for i = 1, count do
    headers[i] = redis.call("GETRANGE", KEYS[2 + i], "0", "39")
    if string.sub(headers[i], 1, 39) == own then return reply + ${DONE} end
  end

  local function wasDone()
    return receipt and redis.call("EXISTS", receipt) == 1
  end
  if serverTime > deadline then return reply + (wasDone() and ${DONE} or ${TOO_LATE}) end

  local hasPut = false
  for i = 1, count do
    local header, condition = headers[i], ARGV[1 + 3 * i]
    hasPut = hasPut or ARGV[2 + 3 * i] ~= ""
    local live = header ~= ""
    if live and (string.sub(header, 1, 2) ~= "${FORMAT} " or string.byte(header, 39) ~= 32) then
      return {reply + ${FOREIGN}, i - 1}
    end
    if live and testTime then
      local expiresAt = string.match(redis.call("GETRANGE", KEYS[2 + i], "39", "59"), "^%d+")
      live = not expiresAt or tonumber(expiresAt) > now
    end
    local holds = condition == "${UNCONDITIONAL}"
    if condition == "${ABSENT}" then
      holds = not live
    elseif not holds then
      holds = live and string.sub(header, 1, 39) == condition
    end
    if not holds then
      -- This write itself may have changed the entry.
      if wasDone() then return reply + ${DONE} end
      return {reply + ${REFUSED}, i - 1}
    end
  end

  local receiptMs = deadline - serverTime + 1000
  if receipt then
    if hasPut then
      if not redis.call("SET", receipt, "", "NX", "PX", receiptMs) then return reply + ${DONE} end
    elseif wasDone() then
      return reply + ${DONE}
    end
  end

  local base = string.sub(keySet, 1, -#"keys" - 1)
  local prefixBytes = #base + #"entry:"
  local function remove(key, entryKey, neverExpires)
    redis.call("DEL", entryKey)
    redis.call("ZREM", keySet, key)
    if not neverExpires then redis.call("ZREM", expirySet, key) end
  end
  local ttls = 0
  for i = 1, count do
    local entryKey, header, text, ttl = KEYS[2 + i], headers[i], ARGV[2 + 3 * i], tonumber(ARGV[3 + 3 * i])
    local key = string.sub(entryKey, prefixBytes + 1)
    local neverExpires = string.sub(header, 40) == "-"
    if text == "" then
      -- Without an entry, there may be the rest of an expired one.
      if header ~= "" then
        remove(key, entryKey, neverExpires)
      elseif redis.call("ZREM", keySet, key) == 1 then
        redis.call("ZREM", expirySet, key)
      end
    else
      if header == "" and redis.call("ZADD", keySet, "0", key) == 1 then neverExpires = true end
      if not ttl then
        if not neverExpires then redis.call("ZREM", expirySet, key) end
        redis.call("SET", entryKey, text)
      else
        ttls = ttls + 1
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
      end
    end
  end
  -- A server that is out of memory refuses SET, and must not refuse deletions with it.
  if receipt and not hasPut then redis.call("SET", receipt, "", "PX", receiptMs) end
  -- Each put with a TTL removes up to two expired entries, so they do not accumulate. The write is done, so failures here
  -- are ignored.
  if ttls > 0 then
    for _, expired in ipairs(redis.call("ZRANGEBYSCORE", expirySet, "-inf", now, "LIMIT", 0, 2 * ttls)) do
      pcall(remove, expired, base .. "entry:" .. expired)
    end
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
