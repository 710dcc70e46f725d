/** The storage that `copy` reads: a file, whose path the environment has. */
import process from "node:process";
import { fileStorage } from "@b24/onappupdate/file-storage";
import type { Storage } from "@b24/onappupdate/storage";

const storage: Storage = fileStorage({ path: process.env["TEST_STORAGE"]! });
export default storage;
