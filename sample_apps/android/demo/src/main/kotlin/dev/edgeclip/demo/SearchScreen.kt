package dev.edgeclip.demo

import android.Manifest.permission
import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Build
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.contract.ActivityResultContracts
import androidx.compose.foundation.Image
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.aspectRatio
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.lazy.grid.GridCells
import androidx.compose.foundation.lazy.grid.LazyVerticalGrid
import androidx.compose.foundation.lazy.grid.items
import androidx.compose.material3.Button
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.produceState
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.asImageBitmap
import androidx.compose.ui.layout.ContentScale
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.unit.dp
import androidx.lifecycle.compose.collectAsStateWithLifecycle
import dev.edgeclip.core.Hit
import java.io.IOException
import java.util.Locale
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

private const val THUMBNAIL = 320

private val PERMISSIONS = when {
    Build.VERSION.SDK_INT >= 34 -> arrayOf(permission.READ_MEDIA_IMAGES, permission.READ_MEDIA_VISUAL_USER_SELECTED)
    Build.VERSION.SDK_INT >= 33 -> arrayOf(permission.READ_MEDIA_IMAGES)
    else -> arrayOf(permission.READ_EXTERNAL_STORAGE)
}

/** The user's photos by what they show. The index is kept on the phone and only added to. */
@Composable
fun SearchScreen(model: DemoViewModel, readsTexts: Boolean) {
    if (!readsTexts) {
        Text("This bundle has labels in place of the text tower, which a search needs.")
        return
    }
    val state by model.search.collectAsStateWithLifecycle()
    var words by rememberSaveable { mutableStateOf("") }
    val permissions = rememberLauncherForActivityResult(ActivityResultContracts.RequestMultiplePermissions()) { granted ->
        if (granted.values.any { it }) model.indexPhotos()
    }
    Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
        Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            Button({ if (state.running) model.stopIndexing() else permissions.launch(PERMISSIONS) }) {
                Text(if (state.running) "Stop" else "Index photos")
            }
            Text(if (state.running) "${state.done} of ${state.total}" else "${state.stored} photos")
        }
        OutlinedTextField(
            words,
            {
                words = it
                if (it.isNotBlank()) model.search(it)
            },
            Modifier.fillMaxWidth(),
            label = { Text("What to look for") },
        )
        if (state.why != null) Text(state.why.orEmpty(), color = MaterialTheme.colorScheme.error)
        if (state.hits.isNotEmpty()) Text("${state.ms} ms", style = MaterialTheme.typography.bodySmall)
        LazyVerticalGrid(GridCells.Fixed(3)) { items(state.hits, key = { it.row }) { hit -> Photo(hit) } }
    }
}

@Composable
private fun Photo(hit: Hit) {
    val resolver = LocalContext.current.contentResolver
    val bitmap by produceState<Bitmap?>(null, hit.id) {
        value = withContext(Dispatchers.IO) { resolver.thumbnail(Uri.parse(hit.id)) }
    }
    Column {
        bitmap?.let { Image(it.asImageBitmap(), null, Modifier.aspectRatio(1f), contentScale = ContentScale.Crop) }
        Text(String.format(Locale.ROOT, "%.3f", hit.score), style = MaterialTheme.typography.bodySmall)
    }
}

/** Null for a photo that was deleted since, or may no longer be read. */
private fun ContentResolver.thumbnail(photo: Uri): Bitmap? = try {
    ImageDecoder.decodeBitmap(ImageDecoder.createSource(this, photo)) { decoder, info, _ ->
        decoder.setTargetSampleSize(maxOf(1, minOf(info.size.width, info.size.height) / THUMBNAIL))
    }
} catch (e: IOException) {
    null
} catch (e: SecurityException) {
    null
}
