/** A project that has the packed package installed, and Node 24, for what the documentation shows for Node. */
import process from "node:process";
import { buildNpm } from "../../scripts/build_npm.ts";
import { createNpmProject, findNode } from "../../scripts/npm_project.ts";

export interface NodeProject {
  readonly folder: string;
  /** The path of Node. */
  readonly node: string;
  readonly remove: () => void;
}

/** Returns the project that the gate has made, or a new one. */
export async function nodeProject(): Promise<NodeProject> {
  const { TEST_NPM_PROJECT: folder, TEST_NODE: node } = process.env;
  if (folder !== undefined && node !== undefined) return { folder, node, remove: () => {} };
  const project = await createNpmProject(await buildNpm());
  await project.installTestPackages();
  return { folder: project.folder, node: (await findNode("24")).path, remove: project.remove };
}
