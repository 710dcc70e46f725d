import assert from "node:assert/strict";
import { AddressError } from "@b24/onappupdate/errors";
import { isCloudHost, oauthOrigin, portalAddress, portalEndpoint, portalHost } from "../../../src/bitrix24/hosts.ts";
import { seeded } from "../../support/seeded.ts";
import { describe, it } from "../../support/test.ts";

describe("portalAddress() accepts", () => {
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

  it("private hosts and ports that the vendor has configured, and no others", () => {
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
    const fraction = seeded(1);
    const random = (): number => Math.floor(fraction() * 2 ** 32);
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

  const ALLOWED = "list the host in extraPortalHosts to allow it, if it is your customer's";
  const REASONS: Readonly<Record<string, string>> = {
    "x": '"": it is not an address',
    "https://example.com\\x/": '"example.com": it contains a space, a control character or a backslash',
    "http://example.com/": '"example.com": wanted https',
    "https://@example.com/": '"example.com": it contains a user name',
    "https://example.com:8443/": `"example.com:8443": it has a port, wanted none; ${ALLOWED}`,
    "https://2130706433/": `"127.0.0.1": it is an IP address, wanted a name; ${ALLOWED}`,
    "https://[::1]/": `"[::1]": it is an IP address, wanted a name; ${ALLOWED}`,
    "https://example.com./": '"example.com.": its name ends with a dot',
    "https://bitrix/": `"bitrix": it is the name of a private network, wanted a public one; ${ALLOWED}`,
    "https://bitrix.office.lan/":
      `"bitrix.office.lan": it is the name of a private network, wanted a public one; ${ALLOWED}`,
    "https://-a.com/": '"-a.com": it is not a host name',
  };
  for (const [text, reason] of Object.entries(REASONS)) {
    it(`${text} as ${reason}`, () => assert.throws(() => portalAddress(text), { message: `cannot call ${reason}` }));
  }

  it("without quoting more than the host", () => {
    assert.throws(() => portalAddress("https://user:password@example.com/rest/?auth=secret"), (error: Error) => {
      assert.match(error.message, /^cannot call "example\.com": it contains a user name$/);
      return true;
    });
  });
});

describe("portalEndpoint()", () => {
  const ENDPOINT = "https://crm.customer.com/rest/";
  for (const text of [ENDPOINT, "https://crm.customer.com/rest", "https://CRM.customer.com:443/x/../rest/"]) {
    it(`accepts ${text}`, () => assert.equal(portalEndpoint(text), ENDPOINT));
  }
  it("accepts hosts that the vendor has configured", () => {
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
    it(`spells ${text} as in addresses`, () => {
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

  it("is false if a letter only looks like the right one", () => {
    for (
      const text of ["https://example.bitrіx24.com/", "https://example.bіtrix24.de/", "https://example.bitrix２４.dе/"]
    ) {
      assert.equal(isCloudHost(portalAddress(text).hostname), false, text);
    }
    assert.equal(isCloudHost(portalAddress("https://example.ｂitrix24.de/").hostname), true);
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
