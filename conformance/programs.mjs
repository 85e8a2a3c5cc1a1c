// What tests in Node.js share: waiting with a limit, and programs to run.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The time that a wait may take before it is a failure. Nothing is expected to take long. */
export const PATIENCE_MS = 20_000;

/** Where `cargo build --release` puts `name`; the environment variable `override` goes first. */
export function built(name, override) {
  if (process.env[override]) return process.env[override];
  const repository = fileURLToPath(new URL('../', import.meta.url));
  const metadata = execFileSync('cargo', ['metadata', '--no-deps', '--format-version', '1'],
    { cwd: repository, maxBuffer: 64 << 20 });
  return path.join(JSON.parse(metadata).target_directory, 'release', name);
}

/** Fails with `what` unless `promise` settles in time. */
export async function within(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A program of ours, listening. `port` is taken from the line that it prints when it is ready. */
export class Program {
  static async start(command, ...args) {
    const program = new Program(command, args);
    try {
      const match = await program.waitForLine(/:\/\/127\.0\.0\.1:(\d+)\//);
      program.port = Number(match[1]);
      return program;
    } catch (error) {
      program.kill();
      throw error;
    }
  }

  constructor(command, args) {
    this.lines = [];
    this.watchers = new Set();
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      readline.createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        for (const watch of this.watchers) watch(line);
      });
    }
    this.exited = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      // 'exit' may come before the last line of output; 'close' never does.
      this.child.once('close', (code, signal) => resolve({ code, signal }));
    });
  }

  output() {
    return this.lines.join('\n');
  }

  /** The match of `pattern` in a line printed already or yet to come. */
  async waitForLine(pattern) {
    for (const line of this.lines) {
      const match = pattern.exec(line);
      if (match) return match;
    }
    let watch;
    const found = new Promise((resolve) => {
      watch = (line) => {
        const match = pattern.exec(line);
        if (match) resolve(match);
      };
      this.watchers.add(watch);
    });
    const ended = this.exited.then(({ code, signal }) => {
      throw new Error(`${this.child.spawnfile} ended with ${signal ?? code}`);
    });
    try {
      return await within(Promise.race([found, ended]), `a line like ${pattern}`);
    } catch (error) {
      throw new Error(`${error.message}; it printed:\n${this.output()}`, { cause: error });
    } finally {
      this.watchers.delete(watch);
    }
  }

  /** Sends `signal` and asserts that the program then ends by itself, with status 0. */
  async end(signal = 'SIGTERM') {
    this.child.kill(signal);
    const exit = await within(this.exited, `end after ${signal}`, PATIENCE_MS + 10_000);
    assert.deepEqual(exit, { code: 0, signal: null }, `exit after ${signal}:\n${this.output()}`);
  }

  /** For the end of a test, whatever became of it. */
  kill() {
    if (this.child.exitCode === null) this.child.kill('SIGKILL');
  }
}

/**
 * What `start` makes of two ports that nobody listens on now, once it prints a line like `ready`:
 * not every program tells which port 0 became. If somebody takes one of them in the
 * meantime, it is made anew.
 */
export async function atFreePorts(ready, start) {
  for (let left = 3; ; left--) {
    const [port, plainPort] = await freePorts();
    const program = start(port, plainPort);
    try {
      await program.waitForLine(ready);
      return Object.assign(program, { port, plainPort });
    } catch (error) {
      program.kill();
      if (left === 1 || !/address already in use/i.test(program.output())) throw error;
    }
  }
}

async function freePorts() {
  const servers = [1, 2].map(() => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
