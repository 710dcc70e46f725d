/** Encryption keys for tests only. */
import type { EncryptedOptions } from "@b24/onappupdate/storage";

export const OLD = "rKxJ1wXAJmoM3UEfiJcNKB5rHeVTxPZd/LvTVnIuYHI=";
export const NEW = "m+VwmUZhcRdpDFPjYrXuFpUHtOMqdXDB/TL85MQzDIE=";

export const old: EncryptedOptions = { keys: { "2026": OLD }, current: "2026" };
export const rotating: EncryptedOptions = { keys: { "2026": OLD, "2027": NEW }, current: "2027" };
