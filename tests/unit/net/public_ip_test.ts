import assert from "node:assert/strict";
import { BlockList } from "node:net";
import { isPublicAddress } from "../../../src/net/public_ip.ts";
import { seeded } from "../../support/seeded.ts";
import { describe, it } from "../../support/test.ts";

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

  it("agrees with net.BlockList at and beside the ends of each range, and at random addresses", () => {
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
    const fraction = seeded(2);
    const random = (): number => Math.floor(fraction() * 2 ** 32);
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
