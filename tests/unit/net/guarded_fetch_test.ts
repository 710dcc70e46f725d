import assert from "node:assert/strict";
import { BlockList } from "node:net";
import { AddressError } from "@b24/onappupdate/errors";
import { guardedFetch } from "../../../src/net/guarded_fetch.ts";
import { isCloudHost, oauthOrigin, portalAddress, portalEndpoint, portalHost } from "../../../src/bitrix24/hosts.ts";
import { isPublicAddress } from "../../../src/net/public_ip.ts";
import { describe, it } from "../../support/test.ts";

/** Numbers from 0 to below 2 ** 32, the same at each run. */
function seeded(seed: number): () => number {
  return () => {
    seed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 0x9e3779b9 | 0;
    return (seed ^ (seed >>> 13)) >>> 0;
  };
}

describe("portalAddress() takes", () => {
  const cases: Readonly<Record<string, string>> = {
    "https://example.bitrix24.de/rest/": "https://example.bitrix24.de/rest/",
    "https://EXAMPLE.Bitrix24.DE/rest/": "https://example.bitrix24.de/rest/",
    "https://b24-a1b2c3.bitrix24.com.br/rest/": "https://b24-a1b2c3.bitrix24.com.br/rest/",
    "https://crm.customer.com:443/rest/": "https://crm.customer.com/rest/",
    "https://портал.рф/rest/": "https://xn--80awhdgm.xn--p1ai/rest/",
    "https://a_b.customer.com/rest/": "https://a_b.customer.com/rest/",
    "HTTPS://crm.customer.com/rest/?a=@&b=1.2.3.4#@": "https://crm.customer.com/rest/?a=@&b=1.2.3.4#@",
    "https://10.0.0.1.customer.com/rest/": "https://10.0.0.1.customer.com/rest/",
    "https://localhost.customer.com/rest/": "https://localhost.customer.com/rest/",
  };
  for (const [text, href] of Object.entries(cases)) {
    it(text, () => assert.equal(portalAddress(text).href, href));
  }

  it("private hosts and ports that the vendor has named, and no others", () => {
    const hosts = ["bitrix.office.local", "10.0.0.5", "crm.customer.com:8443", "localhost:9000"];
    for (const host of hosts) assert.equal(portalAddress(`https://${host}/rest/`, { hosts }).host, host);
    for (
      const host of ["bitrix.office.local:8443", "10.0.0.6", "crm.customer.com:8444", "localhost", "a.localhost:9000"]
    ) {
      assert.throws(() => portalAddress(`https://${host}/rest/`, { hosts }), AddressError);
    }
    assert.throws(() => portalAddress("http://bitrix.office.local/rest/", { hosts }), /wanted https/);
  });
});

describe("portalAddress() refuses", () => {
  const IPS = [
    ...["127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7f000001", "017700000001", "127.0.0.1."],
    ...["10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "0", "8.8.8.8", "1.1", "255.255.255.255"],
    ...["[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1]", "[fd00::1]", "[2606:4700::1111]"],
    ...["１２７.０.０.１", "127。0。0。1", "①②⑦.⓪.⓪.①", "%31%32%37.0.0.1"],
  ];
  const NAMES = [
    ...["localhost", "LOCALHOST", "localhost.", "a.localhost", "portal", "bitrix", "intranet", "metadata"],
    ...["metadata.google.internal", "bitrix.local", "bitrix.lan", "bitrix.home", "bitrix.corp", "bitrix.intranet"],
    ...["router.home.arpa", "1.0.0.127.in-addr.arpa", "a.test", "a.example", "a.invalid", "a.onion", "a.localdomain"],
    ...[
      "portal.localhost.",
      "METADATA.GOOGLE.INTERNAL",
      "instance-data",
      "instance-data.ec2.internal",
      "host.docker.internal",
    ],
    ...[
      "kubernetes.default.svc.cluster.local",
      "redis.service.consul",
      "a.mail",
      "lоcalhost",
      "ｌｏｃａｌｈｏｓｔ",
      "a.lｏcal",
    ],
    ...["example.bitrix24.de.", "a..de", ".bitrix24.de", "-a.de", "a-.de", "a.d-", `${"a".repeat(64)}.de`],
    ...[`${"a.".repeat(130)}de`, "a.1", "*.bitrix24.de", "a!b.de", "a,b.de"],
  ];
  const SHAPES = [
    ...["", "x", "example.bitrix24.de", "//example.bitrix24.de/rest/", "/rest/", "https://", "https:///rest/"],
    ...["http://example.bitrix24.de/rest/", "ftp://example.bitrix24.de/", "file:///etc/passwd", "data:text/html,x"],
    ...["javascript:alert(1)", "blob:https://example.bitrix24.de/1", "ws://example.bitrix24.de/", "about:blank"],
    ...["https://example.bitrix24.de@evil.com/", "https://u:p@example.bitrix24.de/", "https://@example.bitrix24.de/"],
    ...["https://:@example.bitrix24.de/", "https://evil.com\\@example.bitrix24.de/", "https:\\\\example.bitrix24.de/"],
    ...["https://example.bitrix24.de:80/", "https://example.bitrix24.de:8443/", "https://example.bitrix24.de:0/"],
    ...["https://example\t.bitrix24.de/", "https://exam\nple.bitrix24.de/", " https://example.bitrix24.de/"],
    ...["https://example.bitrix24.de/\0", "https://evil.com\0.bitrix24.de/", "https://evil%2ecom%00.bitrix24.de/"],
    ...["https:example.bitrix24.de/rest/", "https:/example.bitrix24.de/rest/", "https:////example.bitrix24.de/rest/"],
    ...["https:/@example.bitrix24.de/rest/", "https://example.bitrix24.de@/rest/", "https://?example.bitrix24.de"],
    ...["https://example.bitrix24.de:443@evil.com/", "https://example.bitrix24.de%40evil.com/"],
    ...["https://evil.com%2f.bitrix24.de/", "https://evil.com%23.bitrix24.de/", "https://[bitrix24.de]/"],
  ];
  for (const text of [...[...IPS, ...NAMES].map((host) => `https://${host}/rest/`), ...SHAPES]) {
    it(JSON.stringify(text).slice(0, 80), () => assert.throws(() => portalAddress(text), AddressError));
  }

  it("every IPv4 address in every spelling", () => {
    const random = seeded(1);
    const spell = [
      (n: number): string => String(n),
      (n: number): string => `0x${n.toString(16)}`,
      (n: number): string => `0X${n.toString(16).toUpperCase().padStart(8, "0")}`,
      (n: number): string => `0${n.toString(8)}`,
      (n: number): string => [...String(n)].map((digit) => String.fromCodePoint(0xff10 + Number(digit))).join(""),
      (n: number): string => [...String(n)].map((digit) => `%3${digit}`).join(""),
    ];
    for (let i = 0; i < 2000; i++) {
      const ip = random();
      const bytes = [ip >>> 24, ip >>> 16 & 255, ip >>> 8 & 255, ip & 255];
      // The last of 1 to 4 parts holds what the others leave.
      const parts = [[ip], [bytes[0]!, ip & 0xffffff], [bytes[0]!, bytes[1]!, ip & 0xffff], bytes][i % 4]!;
      const host = parts.map((part) => spell[random() % spell.length]!(part)).join(
        [".", "。", "．", "｡", "%2e"][i % 5],
      );
      for (const text of [`https://${host}/rest/`, `https://${host}./rest/`]) {
        assert.throws(() => portalAddress(text), AddressError, text);
      }
    }
  });

  const REASONS: Readonly<Record<string, string>> = {
    "x": '"": it is no address',
    "https://example.com\\x/": '"example.com": it has a space, a control character or a backslash',
    "http://example.com/": '"example.com": wanted https',
    "https://@example.com/": '"example.com": it names a user',
    "https://example.com:8443/": '"example.com:8443": it has a port, wanted none',
    "https://2130706433/": '"127.0.0.1": it is an IP address, wanted a name',
    "https://[::1]/": '"[::1]": it is an IP address, wanted a name',
    "https://example.com./": '"example.com.": its name ends with a dot',
    "https://bitrix/": '"bitrix": its name is of a private network',
    "https://bitrix.office.lan/": '"bitrix.office.lan": its name is of a private network',
    "https://-a.com/": '"-a.com": its name is no name of a host',
  };
  for (const [text, reason] of Object.entries(REASONS)) {
    it(`${text} as ${reason}`, () => assert.throws(() => portalAddress(text), { message: `cannot call ${reason}` }));
  }

  it("without quoting more than the host", () => {
    assert.throws(() => portalAddress("https://user:password@example.com/rest/?auth=secret"), (error: Error) => {
      assert.match(error.message, /^cannot call "example\.com": it names a user$/);
      return true;
    });
  });
});

describe("portalEndpoint()", () => {
  const ENDPOINT = "https://crm.customer.com/rest/";
  for (const text of [ENDPOINT, "https://crm.customer.com/rest", "https://CRM.customer.com:443/x/../rest/"]) {
    it(`takes ${text}`, () => assert.equal(portalEndpoint(text), ENDPOINT));
  }
  it("takes hosts of the vendor's choice", () => {
    const hosts = ["10.0.0.5:8443"];
    assert.equal(portalEndpoint("https://10.0.0.5:8443/rest/", { hosts }), "https://10.0.0.5:8443/rest/");
  });
  const PATHS = [
    ...["", "/", "/rest/app.info", "/rest//", "/REST/", "/rest/1/webhook/", "/x/rest/", "/rest/../", "/rest/%2e%2e/"],
    ...["/rest/?", "/rest/?x=", "/rest/#", "/rest/#x", "/rest?x", "/rest;x/"],
  ];
  for (const path of PATHS) {
    it(`refuses ${JSON.stringify(path)}`, () => {
      const error = { name: "AddressError", message: 'cannot call "crm.customer.com": its path is not "/rest/"' };
      assert.throws(() => portalEndpoint(`https://crm.customer.com${path}`), error);
    });
  }
  it("refuses what portalAddress() refuses", () => {
    assert.throws(() => portalEndpoint("https://10.0.0.5/rest/"), AddressError);
  });
});

describe("portalHost()", () => {
  const cases: Readonly<Record<string, string>> = {
    "crm.example.com": "crm.example.com",
    "CRM.Example.com:8443": "crm.example.com:8443",
    "crm.example.com:443": "crm.example.com",
    "портал.рф": "xn--80awhdgm.xn--p1ai",
    "bitrix": "bitrix",
    "10.0.0.5": "10.0.0.5",
    "[FD00::0:5]:8443": "[fd00::5]:8443",
  };
  for (const [text, host] of Object.entries(cases)) {
    it(`spells ${text} as addresses do`, () => {
      assert.equal(portalHost(text), host);
      assert.equal(portalAddress(`https://${text}/rest/`, { hosts: [portalHost(text)] }).host, host);
    });
  }
  const WRONG = [
    ...["", " ", "https://crm.example.com", "crm.example.com/", "crm.example.com/rest/", "user@crm.example.com"],
    ...["crm.example.com:x", "crm.example.com:99999", "fd00::5", "*.example.com", "a b", "a\\b"],
    ...["crm.example.com?", "crm.example.com#", ".example.com", "crm..example.com", "crm.example.com."],
  ];
  for (const text of WRONG) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => portalHost(text), TypeError));
  }
});

describe("isCloudHost()", () => {
  const cases: Readonly<Record<string, boolean>> = {
    "example.bitrix24.de": true,
    "a.b.bitrix24.com": true,
    "example.bitrix24.com.br": true,
    "example.bitrix24.uz": true,
    "bitrix24.de": false,
    ".bitrix24.de": false,
    "xbitrix24.de": false,
    "example.xbitrix24.de": false,
    "example.bitrix24.de.evil.com": false,
    "example.bitrix24.xyz": false,
    "example.bitrix24.com.evil": false,
    "example.bitrix24.evil.com": false,
  };
  for (const [host, isCloud] of Object.entries(cases)) {
    it(`${host}: ${isCloud}`, () => assert.equal(isCloudHost(host), isCloud));
  }

  const ELSEWHERE = [
    ...["https://evil.com#.bitrix24.de", "https://evil.com/.bitrix24.de", "https://evil.com?.bitrix24.de"],
    ...["https://evil.com/?example.bitrix24.de", "https://bitrix24.de.evil.com/", "https://example-bitrix24.de/"],
    ...["https://example.bitrix24.ua/", "https://example.bitrix24.co.uk/", "https://example.bitrix24.site/"],
    ...["https://example.xn--bitrx24-g2a.de/", "https://example.bitrix24.de.com/", "https://oauth.bitrix24.tech/"],
  ];
  for (const text of ELSEWHERE) {
    it(`is false of ${text}`, () => assert.equal(isCloudHost(portalAddress(text).hostname), false));
  }

  it("a letter that only looks like one is another name", () => {
    for (
      const text of ["https://example.bitrіx24.com/", "https://example.bіtrix24.de/", "https://example.bitrix２４.dе/"]
    ) {
      assert.equal(isCloudHost(portalAddress(text).hostname), false, text);
    }
    assert.equal(isCloudHost(portalAddress("https://example.ｂitrix24.de/").hostname), true);
  });
});

describe("isPublicAddress()", () => {
  const PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "192.0.1.1",
    "223.255.255.255",
  ];
  const PUBLIC_V6 = [
    "2606:4700::1111",
    "2a00:1450:4001:830::200e",
    "::ffff:8.8.8.8",
    "2400:cb00:2048:1::c629:d7a2",
    "64:ff9b::808:808",
    "64:ff9b::8.8.8.8",
  ];
  const CLOSED = [
    ...[
      "0.0.0.0",
      "0.1.2.3",
      "10.0.0.1",
      "10.255.255.255",
      "100.64.0.1",
      "100.127.255.255",
      "127.0.0.1",
      "127.255.0.1",
    ],
    ...["169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.0.1", "198.18.0.1"],
    ...[
      "198.19.255.255",
      "198.51.100.1",
      "203.0.113.1",
      "168.63.129.16",
      "100.100.100.200",
      "192.0.0.192",
      "224.0.0.1",
      "239.1.1.1",
      "240.0.0.1",
      "255.255.255.255",
    ],
    ...[
      "::",
      "::1",
      "::ffff:127.0.0.1",
      "::ffff:a9fe:a9fe",
      "::127.0.0.1",
      "fe80::1",
      "fe80::1%eth0",
      "fc00::1",
      "fd12::1",
    ],
    ...[
      "ff02::1",
      "64:ff9b::7f00:1",
      "64:ff9b::a9fe:a9fe",
      "64:ff9b:1::1",
      "64:ff9b::1:808:808",
      "fd00:ec2::254",
      "::ffff:0:808:808",
      "0:0:0:0:0:0:0:1",
      "0000::0001",
      "::FFFF:10.0.0.1",
      "100::1",
      "2001::1",
      "2001:db8::1",
      "2002:7f00:1::",
      "3fff::1",
    ],
    ...["fec0::1", "5f00::1"],
    ...[
      "",
      "x",
      "1.2.3",
      "1.2.3.4.5",
      "256.1.1.1",
      "1.2.3.4/8",
      "1:2:3",
      ":::",
      "1::2::3",
      "8.8.8.8.",
      "08.8.8.8",
      "8.8.8.010",
      " 8.8.8.8",
      "2606:4700::1111]:80/[",
      "2606:4700::1111%eth0",
      "2606:4700::1111/64",
      "[::1]",
      "g::1",
    ],
  ];
  for (const ip of [...PUBLIC, ...PUBLIC_V6]) it(`${ip}: public`, () => assert.equal(isPublicAddress(ip), true));
  for (const ip of CLOSED) it(`${JSON.stringify(ip)}: not public`, () => assert.equal(isPublicAddress(ip), false));

  it("says what the lists of another maker say, at and beside each end of a range, and anywhere", () => {
    const v4: [string, number][] = [
      ...[["0.0.0.0", 8], ["10.0.0.0", 8], ["100.64.0.0", 10], ["127.0.0.0", 8], ["169.254.0.0", 16]],
      ...[["172.16.0.0", 12], ["192.0.0.0", 24], ["192.0.2.0", 24], ["192.88.99.0", 24], ["192.168.0.0", 16]],
      ...[["198.18.0.0", 15], ["198.51.100.0", 24], ["203.0.113.0", 24], ["224.0.0.0", 3], ["168.63.129.16", 32]],
    ] as [string, number][];
    const v6: [string, number][] = [
      ...[["::", 3], ["4000::", 2], ["8000::", 1], ["2001::", 23], ["2001:db8::", 32], ["2002::", 16], ["3fff::", 20]],
    ] as [string, number][];
    // Apart: some runtimes hold IPv4 addresses against ranges of IPv6 too.
    const closed = { ipv4: new BlockList(), ipv6: new BlockList() };
    for (const [ip, bits] of v4) closed.ipv4.addSubnet(ip, bits, "ipv4");
    for (const [ip, bits] of v6) closed.ipv6.addSubnet(ip, bits, "ipv6");
    const random = seeded(2);
    const dotted = (n: number): string => [24, 16, 8, 0].map((shift) => n >>> shift & 255).join(".");
    const ips = Array.from({ length: 5000 }, random);
    for (const [ip, bits] of v4) {
      const first = ip.split(".").reduce((n, byte) => n * 256 + Number(byte), 0);
      const end = first + 2 ** (32 - bits);
      ips.push(...[first - 1, first, end - 1, end].filter((n) => n >= 0 && n < 2 ** 32));
    }
    for (const ip of ips.map(dotted)) assert.equal(isPublicAddress(ip), !closed.ipv4.check(ip, "ipv4"), ip);
    const starts = [
      "2000",
      "2001",
      "2002",
      "3fff",
      "2001:1ff",
      "2001:200",
      "2001:db8",
      "2001:db9",
      "3fff:fff",
      "3fff:1000",
    ];
    for (let i = 0; i < 5000; i++) {
      const groups = Array.from({ length: 8 }, () => (random() >>> 16).toString(16));
      const start = i % 2 === 0 ? [] : starts[random() % starts.length]!.split(":");
      const ip = [...start, ...groups].slice(0, 8).join(":");
      assert.equal(isPublicAddress(ip), !closed.ipv6.check(ip, "ipv6"), ip);
    }
  });
});

describe("guardedFetch()", () => {
  interface Scene {
    readonly fetch: typeof fetch;
    readonly called: { readonly url: string; readonly redirect?: RequestRedirect }[];
    readonly looked: string[];
    addresses: readonly string[] | undefined | Error;
    now: number;
  }
  function scene(hosts: readonly string[] = []): Scene {
    const made: Scene = {
      called: [],
      looked: [],
      addresses: ["93.184.216.34"],
      now: 0,
      fetch: guardedFetch({
        hosts,
        clock: () => made.now,
        lookup: (host) => {
          made.looked.push(host);
          const { addresses } = made;
          return addresses instanceof Error ? Promise.reject(addresses) : Promise.resolve(addresses);
        },
        fetch: (input, init) => {
          const url = input instanceof Request ? input.url : String(input);
          made.called.push({ url, ...(init?.redirect === undefined ? {} : { redirect: init.redirect }) });
          return Promise.resolve(new Response("ok"));
        },
      }),
    };
    return made;
  }
  const CUSTOMER = "https://crm.customer.com/rest/app.info";

  it("calls what may be called, by text, URL or Request, and follows no redirect", async () => {
    const made = scene();
    await made.fetch(CUSTOMER, { redirect: "follow" });
    await made.fetch(new URL(CUSTOMER));
    await made.fetch(new Request(CUSTOMER, { method: "POST", body: "x", redirect: "follow" }));
    assert.deepEqual(made.called, [1, 2, 3].map(() => ({ url: CUSTOMER, redirect: "manual" })));
  });

  it("calls nobody where the address is refused", async () => {
    const made = scene();
    for (const url of ["https://127.0.0.1/", "http://crm.customer.com/", "https://u@crm.customer.com/"]) {
      await assert.rejects(made.fetch(url), { name: "AddressError" });
    }
    await assert.rejects(made.fetch(new Request("https://10.0.0.1/")), { name: "AddressError" });
    assert.deepEqual([made.called, made.looked], [[], []]);
  });

  it("refuses a name of which any address is not public, however often", async () => {
    const lists = [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:169.254.169.254"], [], ["garbage"]];
    for (const addresses of lists) {
      const made = scene();
      made.addresses = addresses;
      for (let i = 0; i < 2; i++) {
        await assert.rejects(made.fetch(CUSTOMER), {
          name: "AddressError",
          message: "cannot call crm.customer.com: its name leads to an address that is not public",
        });
      }
      assert.deepEqual([made.called, made.looked.length], [[], 1]);
    }
  });

  it("looks once for calls that come together, and not in the cloud or where the vendor knows the host", async () => {
    const made = scene(["bitrix.office.local"]);
    await Promise.all([1, 2, 3].map(() => made.fetch(CUSTOMER)));
    await made.fetch("https://example.bitrix24.de/rest/");
    await made.fetch("https://bitrix.office.local/rest/");
    assert.deepEqual([made.called.length, made.looked], [5, ["crm.customer.com"]]);
  });

  it("takes a name that is not known for an outage, and looks again", async () => {
    const made = scene();
    made.addresses = new Error("ENOTFOUND");
    await assert.rejects(made.fetch(CUSTOMER), { name: "TypeError", message: "cannot find host crm.customer.com" });
    made.addresses = ["93.184.216.34"];
    assert.equal((await made.fetch(CUSTOMER)).status, 200);
  });

  it("looks again after half a minute, so that a name which leads elsewhere now is refused", async () => {
    const made = scene();
    await made.fetch(CUSTOMER);
    made.addresses = ["127.0.0.1"];
    made.now = 29_999;
    await made.fetch(CUSTOMER);
    made.now = 30_000;
    await assert.rejects(made.fetch(CUSTOMER), { name: "AddressError" });
    assert.equal(made.looked.length, 2);
  });

  it("remembers a thousand looks and no more", async () => {
    const made = scene();
    for (let i = 0; i < 1001; i++) await made.fetch(`https://crm${i}.customer.com/rest/`);
    await made.fetch("https://crm1000.customer.com/rest/");
    assert.equal(made.looked.length, 1001);
    await made.fetch("https://crm0.customer.com/rest/");
    assert.equal(made.looked.length, 1002);
  });

  it("waits for a look no longer than its caller", async () => {
    const called: unknown[] = [];
    const guarded = guardedFetch({
      lookup: () => new Promise(() => {}),
      fetch: (input) => Promise.resolve(new Response(String(called.push(input)))),
    });
    const stop = new AbortController();
    const waiting = [
      guarded(CUSTOMER, { signal: stop.signal }),
      guarded(new Request(CUSTOMER, { signal: stop.signal })),
    ];
    stop.abort(new Error("no more"));
    for (const one of waiting) await assert.rejects(one, /^Error: no more$/);
    await assert.rejects(guarded(CUSTOMER, { signal: stop.signal }), /^Error: no more$/);
    assert.deepEqual(called, []);
  });

  it("tells nobody who refers, whatever the caller asks", async () => {
    const seen: unknown[] = [];
    const guarded = guardedFetch({
      lookup: () => Promise.resolve(["93.184.216.34"]),
      fetch: (_, init) => Promise.resolve(new Response(String(seen.push(init?.referrerPolicy)))),
    });
    await guarded(CUSTOMER, { referrer: "about:client", referrerPolicy: "unsafe-url" });
    assert.deepEqual(seen, ["no-referrer"]);
  });

  it("keeps the method, the body and the headers of a Request", async () => {
    const guarded = guardedFetch({
      lookup: () => Promise.resolve(["93.184.216.34"]),
      fetch: async (input, init) => {
        const request = new Request(input, init);
        return Response.json([request.method, request.redirect, request.headers.get("x-a"), await request.text()]);
      },
    });
    const request = new Request(CUSTOMER, { method: "POST", body: "x=1", headers: { "x-a": "1" }, redirect: "follow" });
    assert.deepEqual(await (await guarded(request)).json(), ["POST", "manual", "1", "x=1"]);
  });

  it("calls nobody for what is no address, Request or URL", async () => {
    const made = scene();
    for (const input of [{ url: CUSTOMER }, 1, undefined, { href: CUSTOMER, toString: () => "https://10.0.0.1/" }]) {
      await assert.rejects(made.fetch(input as never), { name: "AddressError" });
    }
    assert.deepEqual(made.called, []);
  });

  it("hands redirects back, and is loud where they were followed or are hidden", async () => {
    const answer = async (response: Response): Promise<Response> =>
      await guardedFetch({ lookup: () => Promise.resolve(undefined), fetch: () => Promise.resolve(response) })(
        CUSTOMER,
      );
    const headers = { location: "https://renamed.bitrix24.de/rest/" };
    assert.equal((await answer(new Response(null, { status: 302, headers }))).status, 302);
    for (const lie of [{ redirected: true }, { type: "opaqueredirect" }]) {
      const response = new Response("x");
      for (const [name, value] of Object.entries(lie)) Object.defineProperty(response, name, { value });
      await assert.rejects(answer(response), { name: "AddressError" });
    }
  });

  it("calls where the runtime does not let us look", async () => {
    const made = scene();
    made.addresses = undefined;
    assert.equal((await made.fetch(CUSTOMER)).status, 200);
  });
});

describe("oauthOrigin()", () => {
  const cases: Readonly<Record<string, string>> = {
    "https://oauth.bitrix.info": "https://oauth.bitrix.info",
    "https://oauth.bitrix.info/rest/?x": "https://oauth.bitrix.info",
    "https://OAuth.Bitrix.info:443": "https://oauth.bitrix.info",
    "https://oauth.office.local:8443": "https://oauth.office.local:8443",
    "http://127.0.0.1:8000": "http://127.0.0.1:8000",
    "http://localhost:8000/": "http://localhost:8000",
    "http://[::1]:8000": "http://[::1]:8000",
  };
  for (const [text, origin] of Object.entries(cases)) it(text, () => assert.equal(oauthOrigin(text), origin));

  const WRONG = [
    ...["", "oauth.bitrix.info", "//oauth.bitrix.info", "http://oauth.bitrix.info", "ftp://127.0.0.1", "file:///x"],
    ...["http://127.0.0.2", "http://localhost.evil.com", "http://evil.localhost", "https://u@oauth.bitrix.info"],
    ...["https://:p@oauth.bitrix.info", "data:text/plain,x", "javascript:1"],
  ];
  for (const text of WRONG) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => oauthOrigin(text), {
        name: "TypeError",
        message: /^cannot use ".*" as an OAuth host, wanted/,
      });
    });
  }
});
