// Patches for a front end some of whose dependencies are gone: `node patches.js FOLDER`.
//
// Each patch says why it exists and when it applies; one that has nothing to patch does nothing, so a FATE-Board
// that has moved on is built as it is. What was changed is printed.
'use strict';

const fs = require('fs');
const path = require('path');

const SOURCES = ['.vue', '.scss', '.css', '.sass', '.js'];

const patches = [
  {
    reason: 'hmac_sha1 was removed from the npm registry, and nothing imports it; a package that takes the name' +
      ' later would be somebody else\'s code',
    applies: (front) => 'hmac_sha1' in front.dependencies && !front.imports('hmac_sha1'),
    apply: (front) => front.drop('hmac_sha1'),
  },
  {
    reason: 'node-sass downloads a binary from GitHub or compiles one with Python 2; sass compiles the same styles',
    applies: (front) => 'node-sass' in front.devDependencies,
    apply: (front) => {
      front.drop('node-sass');
      front.devDependencies.sass = '1.32.13';
      front.devDependencies['sass-loader'] = '7.3.1';
      front.replace(/\/deep\//g, '::v-deep');
    },
  },
];

class FrontEnd {
  constructor(folder) {
    this.folder = folder;
    this.manifest = path.join(folder, 'package.json');
    this.content = JSON.parse(fs.readFileSync(this.manifest, 'utf8'));
    this.dependencies = this.content.dependencies || {};
    this.devDependencies = this.content.devDependencies || {};
  }

  sources(folder = path.join(this.folder, 'src')) {
    if (!fs.existsSync(folder)) return [];
    return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const name = path.join(folder, entry.name);
      if (entry.isDirectory()) return this.sources(name);
      return SOURCES.includes(path.extname(name)) ? [name] : [];
    });
  }

  imports(name) {
    const statement = new RegExp(`^(?!\\s*//).*(from|require\\(|import)\\s*['"]${name}['"]`, 'm');
    return this.sources().some((file) => statement.test(fs.readFileSync(file, 'utf8')));
  }

  drop(name) {
    delete this.dependencies[name];
    delete this.devDependencies[name];
  }

  replace(pattern, replacement) {
    for (const file of this.sources()) {
      const text = fs.readFileSync(file, 'utf8');
      const patched = text.replace(pattern, replacement);
      if (patched !== text) fs.writeFileSync(file, patched);
    }
  }

  save() {
    fs.writeFileSync(this.manifest, `${JSON.stringify(this.content, null, 2)}\n`);
    // Its pins are those of the unpatched manifest.
    for (const lock of ['package-lock.json', 'npm-shrinkwrap.json']) {
      fs.rmSync(path.join(this.folder, lock), { force: true });
    }
  }
}

const front = new FrontEnd(process.argv[2]);
const applied = patches.filter((patch) => patch.applies(front));
for (const patch of applied) {
  patch.apply(front);
  console.log(`fimg: front end patched: ${patch.reason}`);
}
if (applied.length > 0) front.save();
