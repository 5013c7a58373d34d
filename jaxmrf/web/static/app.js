// The page, put together from its parts.

import { $, setText } from "./dom.js";
import { askUntilAnswered } from "./api.js";
import { state } from "./state.js";
import { setUpForm } from "./form.js";
import { setUpStage } from "./stage.js";
import { setUpGallery } from "./gallery.js";
import { setUpVary } from "./vary.js";
import { setUpKeys } from "./keys.js";

state.form = await askUntilAnswered("/api/form");
setText($("connection"), "");
setUpForm();
setUpStage();
setUpVary();
$("main").hidden = false;
setUpGallery();
setUpKeys();
