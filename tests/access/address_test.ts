import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AddressError } from "@b24/onappupdate";
import { guardedFetch, isCloudHost, isPublicAddress, oauthOrigin, portalAddress } from "../../src/access/address.ts";

describe("portalAddress() takes", () => {
  const cases: Readonly<Record<string, string>> = {
    "https://example.bitrix24.de/rest/": "https://example.bitrix24.de/rest/",
    "https://EXAMPLE.Bitrix24.DE/rest/": "https://example.bitrix24.de/rest/",
    "https://b24-a1b2c3.bitrix24.com.br/rest/": "https://b24-a1b2c3.bitrix24.com.br/rest/",
    "https://crm.customer.com:443/rest/": "https://crm.customer.com/rest/",
    "https://портал.рф/rest/": "https://xn--80awhdgm.xn--p1ai/rest/",
    "https://a_b.customer.com/rest/": "https://a_b.customer.com/rest/",
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
    ...["https://evil.com%2f.bitrix24.de/", "https://evil.com%23.bitrix24.de/", "https://[bitrix24.de]/"],
  ];
  for (const text of [...[...IPS, ...NAMES].map((host) => `https://${host}/rest/`), ...SHAPES]) {
    it(JSON.stringify(text).slice(0, 80), () => assert.throws(() => portalAddress(text), AddressError));
  }

  it("without quoting more than the host", () => {
    assert.throws(() => portalAddress("https://user:password@example.com/rest/?auth=secret"), (error: Error) => {
      assert.match(error.message, /^cannot call "example\.com": it names a user$/);
      return true;
    });
  });
});

describe("isCloudHost()", () => {
  const cases: Readonly<Record<string, boolean>> = {
    "example.bitrix24.de": true,
    "a.b.bitrix24.com": true,
    "example.bitrix24.com.br": true,
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
  const PUBLIC_V6 = ["2606:4700::1111", "2a00:1450:4001:830::200e", "::ffff:8.8.8.8", "2400:cb00:2048:1::c629:d7a2"];
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
    ...["198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"],
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
    ...["ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1"],
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
      "[::1]",
      "g::1",
    ],
  ];
  for (const ip of [...PUBLIC, ...PUBLIC_V6]) it(`${ip}: public`, () => assert.equal(isPublicAddress(ip), true));
  for (const ip of CLOSED) it(`${JSON.stringify(ip)}: not public`, () => assert.equal(isPublicAddress(ip), false));
});

describe("guardedFetch()", () => {
  interface Scene {
    readonly fetch: typeof fetch;
    readonly called: { readonly url: string; readonly redirect?: RequestRedirect }[];
    readonly looked: string[];
    addresses: readonly string[] | undefined | Error;
  }
  function scene(hosts: readonly string[] = []): Scene {
    const made: Scene = {
      called: [],
      looked: [],
      addresses: ["93.184.216.34"],
      fetch: guardedFetch({
        hosts,
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

  it("calls where the runtime does not let us look", async () => {
    const made = scene();
    made.addresses = undefined;
    assert.equal((await made.fetch(CUSTOMER)).status, 200);
  });
});

describe("oauthOrigin()", () => {
  it("takes https addresses, and loopback for tests", () => {
    assert.equal(oauthOrigin("https://oauth.bitrix.info/rest/?x"), "https://oauth.bitrix.info");
    assert.equal(oauthOrigin("http://127.0.0.1:8000"), "http://127.0.0.1:8000");
  });
});
